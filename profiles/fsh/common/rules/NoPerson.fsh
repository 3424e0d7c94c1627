// A notice goes to those who know the records by number: it need not say whose they are.
RuleSet: NoPerson
* for 0..0
* for ^short = "Never: the records are named by number, the person is not (GDPR article 5.1 c)"
