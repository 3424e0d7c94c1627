Profile: KoordRelatedPerson
Parent: RelatedPerson
Id: koord-related-person
Title: "Representative"
Description: "Who speaks for the patient: vårdnadshavare, god man, förvaltare or framtidsfullmaktshavare."
* insert BySystem(identifier)
* identifier contains
    personnummer 0..1 and
    samordningsnummer 0..1 and
    nationelltReservnummer 0..1
* insert Number(personnummer, http://electronichealth.se/identifier/personnummer)
* insert Number(samordningsnummer, http://electronichealth.se/identifier/samordningsnummer)
* insert Number(nationelltReservnummer, http://electronichealth.se/identifier/nationelltReservnummer)
* patient.display 0..0
* patient.display ^short = "Never: the name stands in Patient.name alone"
* relationship from https://koord.example/fhir/ValueSet/relation (extensible)
