Profile: KoordPractitionerRole
Parent: PractitionerRole
Id: koord-practitioner-role
Title: "Member of staff in an assignment"
Description: "Who acts, and the contact that others may use. The HSA-id of an assignment (medarbetaruppdrag) may stand here; that of the person stands in Practitioner."
* insert Imposes(SEBasePractitionerRole)
* insert BySystem(identifier)
* identifier contains hsaid 0..1
* insert Number(hsaid, urn:oid:1.2.752.29.4.19)
* practitioner.display 0..0
* practitioner.display ^short = "Never: the name stands in Practitioner.name alone"
* insert PhoneAndEmail
