Profile: KoordJournalEntry
Parent: Communication
Id: koord-journal-entry
Title: "That something was handed out"
Description: "The entry in the sending care provider's own journal: to whom, when, on which consents (PDL 3 kap. 6, 11 §§). Business numbers, and nothing of what the records say."
* obeys koord-no-diagnosis
* insert NoReason
* extension contains CareUnit named care-unit 0..1
* identifier 1..*
* identifier.system 1..1
* identifier.value 1..1
* category from https://koord.example/fhir/ValueSet/information-category (required)
* subject 1..1
* insert SwedishSubject(subject)
* about only Reference(Consent)
* insert BusinessNumber(about)
* about.extension contains Version named version 1..1
* recipient 1..1
* recipient only Reference(Organization or Patient)
* insert BusinessNumber(recipient)
* sender 1..1
* sender only Reference(Organization)
* insert BusinessNumber(sender)
* payload.extension contains Version named version 1..1
* payload.content[x] only Reference(Task or CarePlan or Consent)
* insert BusinessNumber(payload.contentReference)
* note 0..0
* note ^short = "Never: nothing of what the records say"
