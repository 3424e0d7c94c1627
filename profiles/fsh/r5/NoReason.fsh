// Interventions are journalled without diagnosis, so no element of theirs has a place for one.
RuleSet: NoReason
* reason 0..0
* reason ^short = "Never: coordination is journalled without diagnosis, KVÅ GC001 (PDL 2 kap. 4 §)"
