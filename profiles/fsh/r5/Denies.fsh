// Which information is blocked, by provider and unit, and the dated lifts (PDL 4 kap. 4, 5 §§; RIV-TA Blocks 4.0).
RuleSet: Denies
* decision = #deny
