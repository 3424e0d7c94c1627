RuleSet: ConsentOfRelease
* scope = $consent-scope#patient-privacy
* insert SwedishSubject(patient)
* policy 1..1
* policy.uri 1..1
* provision 1..1
* provision.type 1..1
