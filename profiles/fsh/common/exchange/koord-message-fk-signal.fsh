Instance: koord-message-fk-signal
InstanceOf: MessageDefinition
Usage: #definition
Title: "A signal to Försäkringskassan as a message"
* insert Message(koord-message-fk-signal, fk-signal, koord-fk-signal)
* name = "KoordMessageFkSignal"
* title = "A signal to Försäkringskassan as a message"
* description = "A koord-bundle-message whose header names this event and leads to the signal. For peers that take messages instead of transactions; the adapter's server does not take $process-message yet."
