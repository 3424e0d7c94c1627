Extension: Version
Id: version
Title: "Version of the record"
Description: "The record's own number, which only rises. A server's versionId belongs to that server; this belongs to the record."
Context: Task, CarePlan, Consent, Communication, Communication.payload, Reference
* insert Holds(positiveInt)
