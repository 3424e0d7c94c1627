// What is planned: in R5 an activity is a resource of its own.
RuleSet: Planned
* activity.plannedActivityReference.display 0..0
* activity.plannedActivityReference.display ^short = "Never: what is planned is told by the activity itself"
