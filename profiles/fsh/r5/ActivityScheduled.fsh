// R5 only: in R4 there is an element for it.
Extension: ActivityScheduled
Id: activity-scheduled
Title: "When an activity is planned"
Description: "The period in which a planned activity takes place."
Context: CarePlan.activity
* insert Holds(Period)
