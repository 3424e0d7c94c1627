Invariant: koord-withdrawn-by
Description: "A withdrawal by a representative names the representative."
Severity: #error
Expression: "extension.where(url = 'https://koord.example/fhir/StructureDefinition/withdrawn').extension.where(url = 'by').value.where(code = 'representative').exists() implies grantor.exists()"
