// Resources that travel together.
RuleSet: Package
* obeys koord-no-condition
