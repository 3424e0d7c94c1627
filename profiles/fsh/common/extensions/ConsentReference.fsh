Extension: ConsentReference
Id: consent
Title: "The consent that it rests on"
Description: "The consent by its business number, which holds across systems (lag (2019:1297) 4 §; OSL 10 kap. 1 §)."
Context: Task
* insert Holds(Reference)
* value[x] only Reference(Consent)
* insert BusinessNumber(valueReference)
