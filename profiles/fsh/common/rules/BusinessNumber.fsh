// A reference that holds across systems: who gave the number, and the number.
RuleSet: BusinessNumber(path)
* {path}.identifier 1..1
* {path}.identifier.system 1..1
* {path}.identifier.value 1..1
