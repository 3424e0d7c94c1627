RuleSet: ConsentOfRelease
* insert SwedishSubject(subject)
* policyBasis 1..1
* policyBasis.url 1..1
* decision 1..1
