Extension: ActivityIntervention
Id: intervention
Title: "The intervention of an activity"
Description: "The coordination intervention that carries out a planned activity, by its business number."
* insert OnActivity
* insert Holds(Reference)
* value[x] only Reference(Task)
* insert BusinessNumber(valueReference)
