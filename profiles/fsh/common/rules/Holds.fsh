// The one value of an extension, of one type.
RuleSet: Holds(type)
* value[x] only {type}
* value[x] 1..1
