Extension: CareUnit
Id: care-unit
Title: "The care unit that hands out"
Description: "The unit, by number, beside the care provider that answers for what is handed out (PDL 3 kap. 11 §)."
Context: Communication
* insert Holds(Reference)
* value[x] only Reference(Organization)
* insert BusinessNumber(valueReference)
