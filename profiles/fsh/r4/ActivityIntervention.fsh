// R4 only: R5 has an element for it.
Extension: ActivityIntervention
Id: intervention
Title: "The intervention of an activity"
Description: "The coordination intervention that carries out a planned activity, by its business number."
Context: CarePlan.activity.detail
* insert Holds(Reference)
* value[x] only Reference(Task)
* insert BusinessNumber(valueReference)
