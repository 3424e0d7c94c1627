// No place where more could be told than what the law lets be told.
RuleSet: NoWords
* description 0..0
* description ^short = "Never: no text goes with it (lag (2019:1297) 4 §; GDPR article 5.1 c)"
* note 0..0
* note ^short = "Never: no text goes with it (lag (2019:1297) 4 §; GDPR article 5.1 c)"
* statusReason 0..0
* statusReason ^short = "Never: no reason goes with it (lag (2019:1297) 4 §; GDPR article 5.1 c)"
* output 0..0
* output ^short = "Never: no result goes with it (lag (2019:1297) 4 §; GDPR article 5.1 c)"
