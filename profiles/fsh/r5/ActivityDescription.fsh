// R5 only: in R4 there is an element for it.
Extension: ActivityDescription
Id: activity-description
Title: "What is planned"
Description: "A planned activity in words."
Context: CarePlan.activity
* insert Holds(string)
