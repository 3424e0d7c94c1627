Instance: koord-message-withdrawal-notice
InstanceOf: MessageDefinition
Usage: #definition
Title: "A notice that a consent no longer holds, as a message"
* insert Message(koord-message-withdrawal-notice, samtycke-aterkallat, koord-withdrawal-notice)
* name = "KoordMessageWithdrawalNotice"
* title = "A notice that a consent no longer holds, as a message"
* description = "A koord-bundle-message whose header names this event and leads to the notice. For peers that take messages instead of transactions; the adapter's server does not take $process-message yet."
