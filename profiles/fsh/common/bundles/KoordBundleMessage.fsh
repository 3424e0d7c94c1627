Profile: KoordBundleMessage
Parent: Bundle
Id: koord-bundle-message
Title: "A package as a message"
Description: "For peers that take messages instead of transactions: the header, the records and what they refer to."
* insert Package
* type = #message
* timestamp 1..1
* entry 2..*
* entry.fullUrl 1..1
* entry.resource 1..1
* entry ^slicing.discriminator.type = #type
* entry ^slicing.discriminator.path = "resource"
* entry ^slicing.rules = #open
* entry contains header 1..1
* entry[header].resource only MessageHeader
