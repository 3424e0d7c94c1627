Profile: KoordPractitioner
Parent: Practitioner
Id: koord-practitioner
Title: "Member of staff"
Description: "A person in health care, known by HSA-id. How to reach them stands in the role, since the number belongs to the assignment."
* insert Imposes(SEBasePractitioner)
* insert BySystem(identifier)
* identifier contains hsaid 0..1
* insert Number(hsaid, urn:oid:1.2.752.29.4.19)
* name 0..1
