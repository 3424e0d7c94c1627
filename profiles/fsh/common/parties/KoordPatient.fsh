Profile: KoordPatient
Parent: Patient
Id: koord-patient
Title: "Patient"
Description: "The patient as a recipient may know them: by identity number, by name, by both, or by neither. An identity number stands in `identifier` and nowhere else."
* insert Imposes(SEBasePatient)
* insert BySystem(identifier)
* identifier contains
    personnummer 0..1 and
    samordningsnummer 0..1 and
    nationelltReservnummer 0..1
* insert Number(personnummer, http://electronichealth.se/identifier/personnummer)
* insert Number(samordningsnummer, http://electronichealth.se/identifier/samordningsnummer)
* insert Number(nationelltReservnummer, http://electronichealth.se/identifier/nationelltReservnummer)
* name 0..1
* insert BySystem(meta.security)
* meta.security contains protection 0..*
* meta.security[protection] ^short = "The receiver must protect the person as the sender does (OSL 22 kap. 1 §)"
* meta.security[protection] from https://koord.example/fhir/ValueSet/protection (required)
* meta.security[protection].system 1..1
* meta.security[protection].system = "http://hl7.se/fhir/ig/base/CodeSystem/SecurityLabel"
* meta.security[protection].code 1..1
