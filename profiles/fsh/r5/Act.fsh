// The act that a consent rests on.
RuleSet: Act(uri)
* policyBasis.url = "{uri}"
