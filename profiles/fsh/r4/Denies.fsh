// Which information is blocked, by provider and unit, and the dated lifts (PDL 4 kap. 4, 5 §§; RIV-TA Blocks 4.0).
RuleSet: Denies
* provision.type = #deny
* provision.actor ^slicing.discriminator.type = #value
* provision.actor ^slicing.discriminator.path = "role"
* provision.actor ^slicing.rules = #open
* provision.actor contains
    custodian 0..1 and
    author 0..1
* provision.actor[custodian].role = $participation#CST
* provision.actor[custodian].reference only Reference(Organization)
* provision.actor[author].role = $participation#AUT
* provision.actor[author].reference only Reference(Organization)
* provision.provision.type 1..1
* provision.provision.type = #permit
* provision.provision.period 1..1
* provision.provision.actor ^slicing.discriminator.type = #value
* provision.provision.actor ^slicing.discriminator.path = "role"
* provision.provision.actor ^slicing.rules = #open
* provision.provision.actor contains
    unit 0..1 and
    professional 0..1
* provision.provision.actor[unit].role = $participation#IRCP
* provision.provision.actor[unit].reference only Reference(Organization)
* provision.provision.actor[professional].role = $participation#PRCP
* provision.provision.actor[professional].reference only Reference(PractitionerRole)
* provision.provision.provision 0..0
