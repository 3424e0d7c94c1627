Profile: KoordOperationOutcome
Parent: OperationOutcome
Id: koord-operation-outcome
Title: "What went wrong, and what to do"
Description: "Every error of the adapter. The code in details is stable: SEND_ the caller must act, ADP_ this adapter, REC_ a peer behind it. No value and no person is named."
* issue.details 1..1
* issue.details.coding ^slicing.discriminator.type = #value
* issue.details.coding ^slicing.discriminator.path = "system"
* issue.details.coding ^slicing.rules = #open
* issue.details.coding contains fault 1..1
* issue.details.coding[fault] from https://koord.example/fhir/ValueSet/fault (required)
* issue.details.coding[fault].system 1..1
* issue.details.coding[fault].system = "https://koord.example/fhir/CodeSystem/fault"
* issue.details.coding[fault].code 1..1
* issue.details.text 1..1
