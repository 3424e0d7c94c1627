Profile: KoordConsent
Parent: Consent
Id: koord-consent
Title: "Samtycke: one decision of one patient"
Description: "A consent of one kind, about at most one recipient. A second recipient is a second Consent; kinds never stand in for each other."
* obeys koord-informed-first
* obeys koord-withdrawn-inactive
* obeys koord-withdrawn-by
* insert ConsentCore(consent-kind, https://koord.example/fhir/CodeSystem/consent-kind)
* insert Permits
* extension contains
    Form named form 0..1 and
    Informed named informed 0..1 and
    Withdrawn named withdrawn 0..1
* status ^short = "active while it holds, inactive once withdrawn, rejected if the patient said no; never deleted"
