// Interventions are journalled without diagnosis, so no element of theirs has a place for one.
RuleSet: NoReason
* reasonCode 0..0
* reasonCode ^short = "Never: coordination is journalled without diagnosis, KVÅ GC001 (PDL 2 kap. 4 §)"
* reasonReference 0..0
* reasonReference ^short = "Never: coordination is journalled without diagnosis, KVÅ GC001 (PDL 2 kap. 4 §)"
