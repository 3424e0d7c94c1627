Profile: KoordMessageHeader
Parent: MessageHeader
Id: koord-message-header
Title: "What a message is about"
Description: "The event, who sends, and the records that the message brings. Nothing of what they say."
* event[x] only Coding
* sender 1..1
* sender only Reference(Organization)
* insert BusinessNumber(sender)
* reason 0..0
* reason ^short = "Never: why somebody needs coordination is not told (PDL 2 kap. 4 §)"
* focus 1..*
* focus only Reference(Task or CarePlan or Consent)
