Instance: koord-fhir
InstanceOf: ImplementationGuide
Usage: #definition
Title: "Coordination interventions in Swedish health care"
* url = "https://koord.example/fhir/ImplementationGuide/koord-fhir"
* name = "KoordFhir"
* title = "Coordination interventions in Swedish health care"
* status = #draft
* experimental = false
* description = "Koordineringsinsatser for people on sick leave (lag (2019:1297)): interventions, plans, offers, signals to Försäkringskassan, and the consents that open them."
* license = #Apache-2.0
* insert PackageId
* insert Release
