// The act that a consent rests on.
RuleSet: Act(uri)
* policy.uri = "{uri}"
