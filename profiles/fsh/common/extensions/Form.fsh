Extension: Form
Id: form
Title: "How the consent was given"
Description: "Orally, in writing or electronically: each is enough, and is noted (HSLF-FS 2016:40 5 kap. 5 §)."
Context: Consent
* insert Holds(Coding)
* value[x] from https://koord.example/fhir/ValueSet/consent-form (required)
