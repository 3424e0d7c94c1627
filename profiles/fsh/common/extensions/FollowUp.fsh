Extension: FollowUp
Id: follow-up
Title: "A follow-up of the plan"
Description: "When the plan is followed up."
Context: CarePlan
* insert Holds(dateTime)
