// Which record it is, across systems, and which version of it.
RuleSet: RecordIdentity
* identifier 1..*
* identifier.system 1..1
* identifier.value 1..1
* extension contains Version named version 1..1
