Invariant: koord-informed-first
Description: "The patient is informed before the consent is given, as far as the dates can be compared: two days, or two points in time (Ds 2018:5 5.1)."
Severity: #error
Expression: "extension.where(url = 'https://koord.example/fhir/StructureDefinition/informed').extension.where(url = 'on').value.where($this.toString().contains('T').not() and $this > %resource.date).empty()"
