// The patient by reference and identity number. A recipient may lack the right to the number, and a resource that is read alone
// has nothing to refer to; with neither, FHIR's own cardinality decides whether it can be told at all.
RuleSet: SwedishSubject(path)
* {path} only Reference(Patient)
* {path} obeys koord-subject-given
* {path}.identifier.system 1..1
* {path}.identifier.value 1..1
* {path}.display 0..0
* {path}.display ^short = "Never: the name has its own category and stands in Patient.name alone (PDL 2 kap. 4 §)"
