Invariant: koord-offer-answer
Description: "An answer to an offer, and only an answer, has a date (PDL 3 kap. 6 §)."
Severity: #error
Expression: "status.where($this = 'accepted' or $this = 'rejected').exists() = extension.where(url = 'https://koord.example/fhir/StructureDefinition/answered-on').exists()"
