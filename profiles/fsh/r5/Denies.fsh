// Which information is blocked, by provider and unit, and the dated lifts (PDL 4 kap. 4, 5 §§; RIV-TA Blocks 4.0).
RuleSet: Denies
* decision = #deny
* controller 0..1
* controller only Reference(Organization)
* extension contains
    BlockedUnit named blocked-unit 0..1 and
    InformationPeriod named information-period 0..1
* provision.period 1..1
* provision.actor ^slicing.discriminator.type = #value
* provision.actor ^slicing.discriminator.path = "role"
* provision.actor ^slicing.rules = #open
* provision.actor contains
    unit 0..1 and
    professional 0..1
* provision.actor[unit].role = $participation#IRCP
* provision.actor[unit].reference only Reference(Organization)
* provision.actor[professional].role = $participation#PRCP
* provision.actor[professional].reference only Reference(PractitionerRole)
* provision.provision 0..0
