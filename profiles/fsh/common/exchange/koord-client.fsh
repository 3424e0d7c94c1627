Instance: koord-client
InstanceOf: CapabilityStatement
Usage: #definition
Title: "A client that sends coordination records"
* url = "https://koord.example/fhir/CapabilityStatement/koord-client"
* name = "KoordClient"
* title = "A client that sends coordination records"
* status = #draft
* experimental = false
* date = "2026-11-22"
* description = "What the adapter sends to a recipient, and what its server must take. It sends and never reads."
* kind = #capability
* software.name = "koord-adapter"
* insert Release
* format[0] = #application/fhir+json
* format[1] = #application/fhir+xml
* rest.mode = #client
* rest.documentation = "POST [base] with one transaction for each package, notice or receipt. X-Request-Id, a UUID, is the same over all attempts, so that a repeat has one effect; X-Correlation-Id follows the case. Every entry is a PUT to an id that never changes for its recipient, without a condition. What is sent passes the patient's consents and blocks at every attempt."
* rest.security.description = "Mutual TLS, or a bearer token (RFC 7523), as the recipient asks."
* rest.interaction.code = #transaction
* insert Sends(0, CarePlan, koord-care-plan)
* insert Sends(1, Consent, koord-consent)
* insert Sends(2, Goal, koord-goal)
* insert Sends(3, Organization, koord-organization)
* insert Sends(4, Patient, koord-patient)
* insert Sends(5, Practitioner, koord-practitioner)
* insert Sends(6, PractitionerRole, koord-practitioner-role)
* insert Sends(7, Provenance, koord-provenance)
* insert Sends(8, RelatedPerson, koord-related-person)
* insert Sends(9, Task, koord-task)
