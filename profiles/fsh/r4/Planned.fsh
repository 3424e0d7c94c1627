// Who planned, and what: in R4 an activity is told inside the plan.
RuleSet: Planned
* insert Professional(author)
* activity.detail.extension contains ActivityIntervention named intervention 0..1
* activity.detail.reasonCode 0..0
* activity.detail.reasonCode ^short = "Never: coordination is planned without diagnosis (PDL 2 kap. 4 §)"
* activity.detail.reasonReference 0..0
* activity.detail.reasonReference ^short = "Never: coordination is planned without diagnosis (PDL 2 kap. 4 §)"
* activity.detail.scheduled[x] only Period
* activity.detail.performer only Reference(Organization)
