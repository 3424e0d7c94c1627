// R5 only: in R4 there is an element for it.
Extension: ActivityPerformer
Id: activity-performer
Title: "Who carries out a planned activity"
Description: "The outside actor that an activity is for: only that one hears of it."
Context: CarePlan.activity
* insert Holds(Reference)
* value[x] only Reference(Organization)
