// R5 only: in R4 there is an element for it.
Extension: BlockedUnit
Id: blocked-unit
Title: "The unit whose records are blocked"
Description: "The care unit that an inner spärr closes (PDL 4 kap. 4 §). Whoever does not know it denies more, never less."
Context: Consent
* insert Holds(Reference)
* value[x] only Reference(Organization)
