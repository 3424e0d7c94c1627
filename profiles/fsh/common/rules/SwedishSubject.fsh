// The patient by reference and identity number: either may be missing, by what the recipient may have, but never both.
RuleSet: SwedishSubject(path)
* {path} 1..1
* {path} only Reference(Patient)
* {path} obeys koord-subject-given
* {path}.identifier.system 1..1
* {path}.identifier.value 1..1
* {path}.display 0..0
* {path}.display ^short = "Never: the name has its own category and stands in Patient.name alone (PDL 2 kap. 4 §)"
