import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.hl7.fhir.r5.context.IWorkerContext;
import org.hl7.fhir.r5.elementmodel.Manager;
import org.hl7.fhir.r5.model.StructureDefinition;
import org.hl7.fhir.r5.utils.validation.IResourceValidator;
import org.hl7.fhir.r5.utils.validation.IValidatorResourceFetcher;

/** What lies outside a resource is as it is called: {@code Patient/1} is a Patient, of which no more is known. */
final class Elsewhere {
  private static final Pattern LITERAL = Pattern.compile("(?:\\S+/)?([A-Z][A-Za-z]+)/[A-Za-z0-9.-]{1,64}(?:/_history/\\S+)?");

  private Elsewhere() {}

  static IValidatorResourceFetcher fetcher() {
    return (IValidatorResourceFetcher) Proxy.newProxyInstance(
        Elsewhere.class.getClassLoader(), new Class<?>[] {IValidatorResourceFetcher.class}, Elsewhere::answer);
  }

  private static Object answer(Object self, Method asked, Object[] given) {
    if (asked.getName().equals("fetch")) {
      Matcher literal = LITERAL.matcher((String) given[2]);
      IWorkerContext known = ((IResourceValidator) given[0]).getContext();
      StructureDefinition type = literal.matches() ? known.fetchTypeDefinition(literal.group(1)) : null;
      return type == null ? null : Manager.build(known, type);
    }
    return asked.getReturnType() == boolean.class ? (Object) asked.getName().equals("resolveURL") : null;
  }
}
