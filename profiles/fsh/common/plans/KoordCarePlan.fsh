Profile: KoordCarePlan
Parent: CarePlan
Id: koord-care-plan
Title: "Vårdplan, rehabiliteringsplan, plan för återgång i arbete, SIP"
Description: "A plan made with the patient (lag (2019:1297) 3 §; SFB 30 kap. 6 §). A diagnosis has one place, its own extension, which no outside recipient gets."
* obeys koord-plan-diagnosis
* insert RecordIdentity
* extension contains
    SickLeave named sick-leave 0..* and
    FollowUp named follow-up 0..* and
    PatientTookPart named patient-took-part 0..1 and
    Diagnosis named diagnosis 0..*
* intent = #plan
* category 1..*
* category ^slicing.discriminator.type = #value
* category ^slicing.discriminator.path = "$this"
* category ^slicing.rules = #open
* category contains
    kind 1..1 and
    riv 0..1
* category[kind] ^patternCodeableConcept.coding.system = "https://koord.example/fhir/CodeSystem/plan-kind"
* category[kind] from https://koord.example/fhir/ValueSet/plan-kind (required)
* category[riv] ^patternCodeableConcept.coding.system = "https://fhir.inera.se/CodeSystem/typeofcareplan-cs"
* category[riv] from https://koord.example/fhir/ValueSet/type-of-care-plan (required)
* category[riv] ^short = "The type in RIV-TA GetCarePlans 2.0; a return-to-work plan has none"
* insert SwedishSubject(subject)
* insert Planned
* contributor only Reference(Organization)
* goal only Reference(Goal)
* addresses 0..0
* addresses ^short = "Never: it would lead to a diagnosis, whose only place is its extension (PDL 2 kap. 4 §)"
