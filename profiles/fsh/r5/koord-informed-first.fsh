// Compared as text, where text tells the order: two days, months or years, or two times of one zone. Evaluators do not agree on
// more than that: what is greater of two dates of different precision, and what a date that is no choice is.
Invariant: koord-informed-first
Description: "The patient is informed before the consent is given, as far as the two dates are of one precision and one time zone (Ds 2018:5 5.1)."
Severity: #error
Expression: "extension.where(url = 'https://koord.example/fhir/StructureDefinition/informed').extension.where(url = 'on').value.where($this.toString().length() = %resource.date.toString().length() and ($this.toString().length() <= 10 or $this.toString().substring(19) = %resource.date.toString().substring(19)) and $this.toString() > %resource.date.toString()).empty()"
