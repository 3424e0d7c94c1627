// Who planned, and what: R5 has no place inside the plan for what an activity is, so that extensions hold it.
RuleSet: Planned
* insert Professional(custodian)
* activity.extension contains
    ActivityStatus named status 1..1 and
    ActivityDescription named description 0..1 and
    ActivityScheduled named scheduled 0..1 and
    ActivityPerformer named performer 0..1
* activity.plannedActivityReference only Reference(Task)
* insert BusinessNumber(activity.plannedActivityReference)
