Invariant: koord-withdrawn-inactive
Description: "A consent that says when it was withdrawn is inactive. It stays in the record and is never deleted (HSLF-FS 2016:40 5 kap. 5 §)."
Severity: #error
Expression: "extension.where(url = 'https://koord.example/fhir/StructureDefinition/withdrawn').exists() implies status = 'inactive'"
