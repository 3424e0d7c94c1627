Invariant: koord-sick-leave-degree
Description: "Sick leave is a quarter, a half, three quarters or whole: 25, 50, 75 or 100 per cent (SFB 27 kap.)."
Severity: #error
Expression: "extension.where(url = 'degree').value.where($this != 25 and $this != 50 and $this != 75 and $this != 100).empty()"
