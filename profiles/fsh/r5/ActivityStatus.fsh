// R5 only: in R4 there is an element for it.
Extension: ActivityStatus
Id: activity-status
Title: "How far a planned activity has come"
Description: "Not started, scheduled, in progress, completed or cancelled."
Context: CarePlan.activity
* insert Holds(code)
* value[x] from https://koord.example/fhir/ValueSet/activity-state (required)
