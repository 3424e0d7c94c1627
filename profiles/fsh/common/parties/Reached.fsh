// A way to reach someone, of one kind.
RuleSet: Reached(path, kind)
* {path} contains {kind} 0..*
* {path}[{kind}].system 1..1
* {path}[{kind}].system = #{kind}
* {path}[{kind}].value 1..1
